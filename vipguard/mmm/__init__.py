"""What would vipguard's configuration be for a cluster that MMM manages? MMM 2's files to TOML.

`files` reads them, `directives` knows every word that MMM 2.2.1 knows, `translate` says what each comes to.
"""
