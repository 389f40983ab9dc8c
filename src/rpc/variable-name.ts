/** Which names the environment variables of a job may have; what must not be a member of a signed document is none either. */
export const VARIABLE_NAME = "^[A-Za-z_][A-Za-z0-9_]{0,63}$";
