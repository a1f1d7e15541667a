"""What runs would take, before anything is trained. Apart from lm/training, whose every edit trains anew."""
