"""From what each window says of each device to a state that does not flutter: four rules, one shape of answer."""
