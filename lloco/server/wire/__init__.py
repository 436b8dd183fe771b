"""What goes over the wire: requests, responses and messages, checked and typed."""
