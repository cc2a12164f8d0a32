"""What gRPC servicers share: who asks, errors as status codes, page tokens, and the server around them."""
