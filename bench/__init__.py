"""What does vipguard cost, and what does it gain, beside keepalived with a bash check? Measured on this machine."""
