"""Pictures: uploaded, rendered in the background, captioned, served, deleted without a trace."""
