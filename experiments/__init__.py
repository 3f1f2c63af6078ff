"""What one chapter measures and nobody else would."""
