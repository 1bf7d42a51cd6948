"""The block that every backbone is built of, its layers, and rules for arguments."""
