"""The figures: what is compared with what, in one run. Ratios are reported, and no test asks for them."""
