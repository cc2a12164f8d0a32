"""The FastAPI edge: the application, authentication, requests and answers."""
