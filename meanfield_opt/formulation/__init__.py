"""From problems to conic programs and back."""
