"""Reference posteriors by adaptive integration, in up to three dimensions."""
