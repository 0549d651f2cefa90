"""What people say of the lake's rows: marks, their agreement, and the files of other tools that hold them."""
