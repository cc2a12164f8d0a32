"""Books: one catalogue for all users, over HTTP and over gRPC."""
