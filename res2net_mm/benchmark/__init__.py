"""Running times, side by side."""
