"""vipguard: MySQL and MariaDB failover that keeps keepalived in charge of the virtual IP address."""

__version__ = "0.1.0"
