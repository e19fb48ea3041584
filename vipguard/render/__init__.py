"""What must stand outside vipguard's own file? Texts made of the policy; nothing on the system is changed."""
