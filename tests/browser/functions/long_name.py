"""A function whose name is as long as people make them."""

from runtime import function


@function(devices=("cpu",))
def a_function_with_a_name_that_is_just_exactly_sixty_characters(
    a_parameter_with_quite_a_long_name_as_well_to_see_where_it_goes: int = 1,
) -> int:
    """Return what it is given, under a name of sixty characters, with a docstring that goes on and
    on in its first paragraph, as docstrings do when nobody stops their author in time.
    """
    return a_parameter_with_quite_a_long_name_as_well_to_see_where_it_goes
