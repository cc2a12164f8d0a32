"""The gRPC edge: the server, its interceptor, errors as status codes, page tokens."""
