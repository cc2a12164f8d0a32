"""Books: one catalogue for everybody, over HTTP and over gRPC."""
