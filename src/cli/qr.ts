/** A QR code of `text` for a terminal, dark on light, two rows a line. */
export async function qrCode(text: string): Promise<string> {
  const { default: encode } = await import('qr')
  return encode(text.replace(/\s+/g, ''), 'ascii', { ecc: 'medium', border: 2 })
}
