"""Checks of constructor arguments: each failure names the model, the argument, its value and what is allowed."""


class ArgumentChecks:
    """Checks for one model.

    Args:
        model (str): The name that messages start with.
    """

    def __init__(self, model):
        self.model = model

    def fail(self, name, value, must):
        raise ValueError(f'{self.model}: {name}={value!r} must be {must}')

    def integer(self, name, value, low, high=None, words=()):
        """An integer, or one of ``words``."""
        if value in words:
            return
        if type(value) is not int or value < low or (high is not None and value > high):
            allowed = f'an integer of at least {low}' if high is None else f'an integer from {low} to {high}'
            self.fail(name, value, ' or '.join([allowed, *map(repr, words)]))

    def integers(self, name, values, length, low, high=None, words=()):
        """``length`` integers, or one of ``words``; one or more if ``length`` is None."""
        if not isinstance(values, (tuple, list)) or not values or (length is not None and len(values) != length):
            self.fail(name, values, f'a sequence of {"one or more" if length is None else length} integers')
        for i, value in enumerate(values):
            self.integer(f'{name}[{i}]', value, low, high, words)

    def flags(self, name, values, length):
        if not isinstance(values, (tuple, list)) or len(values) != length or not all(type(v) is bool for v in values):
            self.fail(name, values, f'{length} of True and False, one for each stage')

    def choice(self, name, value, choices):
        if value not in choices or isinstance(value, bool) != isinstance(choices[0], bool):
            self.fail(name, value, 'one of ' + ', '.join(map(repr, choices)))

    def layer(self, name, value):
        if not isinstance(value, dict) or 'type' not in value:
            self.fail(name, value, "a dict with a 'type', such as dict(type='BN')")
