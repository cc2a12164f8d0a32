"""The rules of requests and answers that FastAPI, Django and gRPC share. No framework."""
