"""Keys of the product itself: made at first start, read by the fleets that may have them."""
