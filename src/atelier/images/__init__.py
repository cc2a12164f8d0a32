"""Pictures: uploaded, rendered in the background, captioned, served, and gone without a trace when deleted."""
