"""meddef."""
