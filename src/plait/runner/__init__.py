"""How plaitd puts it together: settings, application, preparation, loop."""
