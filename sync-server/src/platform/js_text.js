const encoder = new TextEncoder();

export const encode = (text) => encoder.encode(text);
