"""The boards that this distribution knows: one TOML file each."""
