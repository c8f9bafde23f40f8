import { resolve } from 'node:path'

/** The image as the service must see it: a layout's directory is meant from where the command runs, not from where the service does. */
export function absoluteImage(image: string): string {
  const found = /^oci:([^@:]+)(.*)$/s.exec(image)
  return found?.[1] === undefined ? image : `oci:${resolve(found[1])}${found[2] ?? ''}`
}
