"""The block, and checks of arguments."""
