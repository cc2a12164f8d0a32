"""What FastAPI, Django and gRPC share: the rules of requests and answers, without a framework."""
