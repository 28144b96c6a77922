"""The ground floor: types that every other part shares, and nothing that acts."""
