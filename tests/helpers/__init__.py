"""What tests of several folders share: paths, commands as processes, fixtures' builders."""
