"""Who rated what, when and how: interactions of users with items, for recommenders."""
