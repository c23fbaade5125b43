"""What a call means, settled before it starts: every option that can't be taken is refused here."""
