"""One check a module; `tfdml/doctor/order.py` has the list."""
