"""What a profile says, and whom it trusts."""
