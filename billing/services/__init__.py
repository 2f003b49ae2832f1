"""What can be done with orders: buying, deploying, looking, ending, accounting, telling."""
