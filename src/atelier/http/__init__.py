"""What every HTTP route shares: resources, problems, paging, conditions, uploads, and the application around them."""
