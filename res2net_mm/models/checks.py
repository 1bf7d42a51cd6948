"""Checks of constructor arguments: each fails with the model, the argument, its value and what is allowed."""


def check_int(name, value, low, high=None):
    if type(value) is not int or value < low or (high is not None and value > high):
        allowed = f'of at least {low}' if high is None else f'from {low} to {high}'
        raise ValueError(f'Res2Net: {name}={value!r} must be an integer {allowed}')


def check_ints(name, values, length, low, high=None):
    if not isinstance(values, (tuple, list)) or not values or (length is not None and len(values) != length):
        count = 'one or more integers' if length is None else f'{length} integers, one for each of num_stages'
        raise ValueError(f'Res2Net: {name}={values!r} must be a sequence of {count}')
    for i, value in enumerate(values):
        check_int(f'{name}[{i}]', value, low, high)


def check_flags(name, values, length):
    if not isinstance(values, (tuple, list)) or len(values) != length or not all(type(v) is bool for v in values):
        raise ValueError(f'Res2Net: {name}={values!r} must be {length} of True and False, one for each of num_stages')


def check_layer(name, value):
    if not isinstance(value, dict) or 'type' not in value:
        raise ValueError(f"Res2Net: {name}={value!r} must be a dict with a 'type', such as dict(type='BN')")


def check_choice(name, value, choices):
    if value not in choices or isinstance(value, bool) != isinstance(choices[0], bool):
        raise ValueError(f'Res2Net: {name}={value!r} must be one of {", ".join(map(repr, choices))}')
