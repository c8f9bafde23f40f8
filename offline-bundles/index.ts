export { packArchive, unpackArchive } from './archive.ts'
export type { ExportImage } from './collect.ts'
export { isRepositoryName, parseContents } from './contents.ts'
export { copyImage } from './copy.ts'
export { asSavedByCosign } from './cosign-layout.ts'
export { exportBundle } from './export.ts'
export type { ExportRequest, ExportResult } from './export.ts'
export { parseGate, SENDER_GATE } from './gate.ts'
export type { Gate, GateJudgement, GateQuestion, Judge } from './gate.ts'
export {
  headerMessage,
  headerPayload,
  KINDS,
  parseHeader,
  shortRoot,
  signedHeader,
} from './header.ts'
export type { Header, HeaderPoint, Kind, SignedHeader } from './header.ts'
export { importBundle } from './import.ts'
export type { ImportRequest, ImportResult } from './import.ts'
export { LIMITS } from './limits.ts'
export { verifyCheckpoint } from './log-part.ts'
export type { CarriedConsistency, CarriedEntry } from './log-part.ts'
export { ANYONE, CONTENTS, enclaveName } from './names.ts'
export { SILENT } from './progress.ts'
export type { Progress } from './progress.ts'
export type { Destination } from './promote.ts'
export {
  parseReceiptCode,
  rawSignature,
  receiptMessage,
  receiptText,
  verifyReceipt,
} from './receipt.ts'
export type { ReceiptFacts } from './receipt.ts'
export type { Finished, Knowledge, ReceiverSite, VouchItem } from './receiver.ts'
export type { LogSnapshot, Preparation, SealRequest, SenderSite, Unfinished } from './sender.ts'
export { custodyHtml, custodyText } from './report.ts'
export { SUMMARY_TYPE } from './summary.ts'
export type { CarriedTrust, TrustReader } from './trust.ts'
export { inspectBundle, verifyBundleDirectory } from './verify.ts'
export type { VerifyRequest, VerifyResult } from './verify.ts'
export { volumeSize } from './volumes.ts'
