"""What follows a VRRP transition: pure plans that say what is due now, of freshly observed state."""
