"""People's marks on the lake's rows, their agreement, and the files of other tools that hold them."""
