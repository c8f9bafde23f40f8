// A process that adds signatures or bundles to one image, for races: writer.ts REFERENCE WHAT COUNT PREFIX
import { utf8 } from '../../../src/core/index.ts'
import {
  appendLegacyLayer,
  buildBundleReferrer,
  DEFAULT_REGISTRY_SETTINGS,
  MEDIA_TYPES,
  openRepository,
  parseReference,
  resolveReference,
} from '../../../src/oci/index.ts'

const [text = '', what, count, prefix] = process.argv.slice(2)
const reference = parseReference(text)
const repository = await openRepository(reference, DEFAULT_REGISTRY_SETTINGS)
const subject = await resolveReference(repository, reference)
// A few at a time, as a service has it.
let next = 0
const worker = async () => {
  while (next < Number(count)) {
    const blob = utf8(`{"from":"${prefix}","number":${next++}}`)
    if (what === 'sig') {
      const layer = {
        mediaType: MEDIA_TYPES.simpleSigning,
        blob,
        annotations: { 'dev.cosignproject.cosign/signature': 'MA==' },
      }
      await appendLegacyLayer(repository, subject.digest, 'sig', layer, () => false)
    } else {
      const input = {
        bundle: blob,
        subject,
        predicateType: 'https://example.test/p',
        created: new Date(0),
      }
      await repository.addReferrer(buildBundleReferrer(input))
    }
  }
}
await Promise.all([worker(), worker()])
