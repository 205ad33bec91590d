const encoder = new TextEncoder();

export const short = (value, max) => (typeof value === "string" && value.length <= max ? value : undefined);

export const encode = (text) => encoder.encode(text);
