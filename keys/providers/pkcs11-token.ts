import { randomUUID } from 'node:crypto'
import type { PKCS11, SessionInfo } from 'pkcs11js'
import { KEY_ALGORITHMS, type KeyAlgorithm } from '../../src/core/index.ts'
import type { ObjectSelector, TokenSelector } from '../pkcs11-uri.ts'
import { Refusal, type OpenedKey, type Target } from './pkcs11-model.ts'
import {
  CKK_EC_EDWARDS,
  readPrivateKey,
  readPublicKey,
  type Constants,
  type Handle,
} from './pkcs11-objects.ts'

/** What the addon does not name: session states, and mechanisms of PKCS#11 3.0. */
const CKS_RO_USER_FUNCTIONS = 1
const CKS_RW_USER_FUNCTIONS = 3
const CKM_EC_EDWARDS_KEY_PAIR_GEN = 0x1055
const CKM_EDDSA = 0x1057
const MAX_MATCHES = 16

/** Tokens of one loaded module. Every method blocks; throws {@link Refusal}, or what the module threw. */
export interface Token {
  open(target: Target): OpenedKey
  sign(request: { handle: string; input: Uint8Array }): Uint8Array
  create(target: Target & { algorithm: string }): OpenedKey
}

interface Held {
  readonly session: Handle
  readonly key: Handle
  readonly mechanism: number
  readonly size: number
}

export function createToken(module: PKCS11, ck: Constants): Token {
  const held = new Map<string, Held>()
  /** A session by serial number: read-write only where a key is made. */
  const sessions = new Map<string, Handle>()
  /** A handle of an earlier life of the module must not fit: numbers of sessions and objects come again. */
  const generation = randomUUID()

  function findToken(wanted: TokenSelector): { slot: Handle; serial: string; label: string } {
    const found = module.C_GetSlotList(true).flatMap((slot) => {
      const info = module.C_GetTokenInfo(slot)
      const is = (name: 'label' | 'serial' | 'manufacturer' | 'model', value: string): boolean =>
        wanted[name] === undefined || wanted[name] === value.trimEnd()
      const matches =
        is('label', info.label) &&
        is('serial', info.serialNumber) &&
        is('manufacturer', info.manufacturerID) &&
        is('model', info.model)
      return matches
        ? [{ slot, serial: info.serialNumber.trimEnd(), label: info.label.trimEnd() }]
        : []
    })
    const [first, second] = found
    if (first === undefined) throw new Refusal('ABSENT', 'the token is not there')
    if (second !== undefined) throw new Refusal('AMBIGUOUS', 'two tokens fit: name it by serial=')
    return first
  }

  function login(session: Handle, slot: Handle, pin: Uint8Array | null): void {
    const { flags } = module.C_GetTokenInfo(slot)
    if ((flags & ck.CKF_LOGIN_REQUIRED) === 0) return
    const info: SessionInfo = module.C_GetSessionInfo(session)
    if (info.state === CKS_RO_USER_FUNCTIONS || info.state === CKS_RW_USER_FUNCTIONS) return
    if (pin === null) throw new Refusal('NO_PIN', 'the token wants a PIN: add pin-source=')
    if ((flags & ck.CKF_USER_PIN_LOCKED) !== 0) throw new Refusal('LOCKED', 'the PIN is locked')
    if ((flags & ck.CKF_USER_PIN_FINAL_TRY) !== 0) {
      throw new Refusal('LOCKED', 'only one PIN attempt is left, and airseal does not take it')
    }
    try {
      // The addon takes a string only, so one must be made; it ends with this call.
      module.C_Login(session, ck.CKU_USER, Buffer.from(pin.buffer).toString('utf8'))
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined
      if (code === ck.CKR_USER_ALREADY_LOGGED_IN) return
      const isPin =
        code === ck.CKR_PIN_INCORRECT ||
        code === ck.CKR_PIN_INVALID ||
        code === ck.CKR_PIN_LEN_RANGE ||
        code === ck.CKR_PIN_EXPIRED ||
        code === ck.CKR_PIN_LOCKED ||
        code === ck.CKR_USER_PIN_NOT_INITIALIZED
      if (!isPin) throw error
      const reason = code === ck.CKR_PIN_LOCKED ? 'the PIN is locked' : 'the token refused the PIN'
      throw new Refusal('PIN', reason)
    }
  }

  function openSession(
    target: Target,
    writable: boolean,
  ): { session: Handle; serial: string; label: string } {
    const { slot, serial, label } = findToken(target.token)
    const name = `${serial}/${writable ? 'rw' : 'ro'}`
    let session = sessions.get(name)
    if (session === undefined) {
      const flags = ck.CKF_SERIAL_SESSION | (writable ? ck.CKF_RW_SESSION : 0)
      session = module.C_OpenSession(slot, flags)
      try {
        login(session, slot, target.pin)
      } catch (error) {
        module.C_CloseSession(session)
        throw error
      }
      sessions.set(name, session)
    }
    return { session, serial, label }
  }

  function find(session: Handle, kind: number, { label, id }: ObjectSelector): Handle[] {
    const template = [{ type: ck.CKA_CLASS, value: kind }]
    if (label !== undefined) template.push({ type: ck.CKA_LABEL, value: label } as never)
    if (id !== undefined) template.push({ type: ck.CKA_ID, value: Buffer.from(id, 'hex') } as never)
    module.C_FindObjectsInit(session, template)
    try {
      return module.C_FindObjects(session, MAX_MATCHES)
    } finally {
      module.C_FindObjectsFinal(session)
    }
  }

  function hold(session: Handle, target: Target, serial: string, tokenLabel: string): OpenedKey {
    const [key, other] = find(session, ck.CKO_PRIVATE_KEY, target.object)
    if (key === undefined) throw new Refusal('MISSING', 'the token holds no such private key')
    if (other !== undefined) {
      throw new Refusal('AMBIGUOUS', 'two private keys fit: name it by id=')
    }
    const facts = readPrivateKey(module, ck, session, key)
    // The public half has the same CKA_ID, by convention of every token; the label alone may be shared.
    const [half, second] = find(session, ck.CKO_PUBLIC_KEY, { ...target.object, id: facts.id })
    if (second !== undefined) throw new Refusal('AMBIGUOUS', 'two public keys fit')
    const publicKey = readPublicKey(module, ck, session, {
      key,
      half: half ?? null,
      type: facts.type,
    })
    const mechanism =
      facts.type === ck.CKK_RSA
        ? ck.CKM_RSA_PKCS
        : facts.type === CKK_EC_EDWARDS
          ? CKM_EDDSA
          : ck.CKM_ECDSA
    const handle = [generation, session.toString('hex'), key.toString('hex')].join('.')
    held.set(handle, { session, key, mechanism, size: publicKey.signatureSize })
    const { id, sensitive, extractable, neverExtractable, local } = facts
    return {
      handle,
      jwk: publicKey.jwk,
      serial,
      tokenLabel,
      id,
      sensitive,
      extractable,
      neverExtractable,
      local,
    }
  }

  function generate(session: Handle, algorithm: KeyAlgorithm, { label, id }: ObjectSelector): void {
    if (label === undefined || id === undefined) {
      throw new Refusal('UNSUPPORTED', 'a new key wants both object= and id=')
    }
    const common = [
      { type: ck.CKA_TOKEN, value: true },
      { type: ck.CKA_LABEL, value: label },
      { type: ck.CKA_ID, value: Buffer.from(id, 'hex') },
    ]
    const secret = [
      ...common,
      { type: ck.CKA_PRIVATE, value: true },
      { type: ck.CKA_SENSITIVE, value: true },
      { type: ck.CKA_EXTRACTABLE, value: false },
      { type: ck.CKA_SIGN, value: true },
    ]
    const open = [...common, { type: ck.CKA_VERIFY, value: true }]
    if (algorithm.kind === 'rsa') {
      open.push({ type: ck.CKA_MODULUS_BITS, value: algorithm.bits } as never)
      open.push({ type: ck.CKA_PUBLIC_EXPONENT, value: Buffer.from([1, 0, 1]) })
    } else {
      const parameters = Buffer.from(algorithm.ecParameters ?? '', 'hex')
      open.push({ type: ck.CKA_EC_PARAMS, value: parameters })
    }
    const mechanism = {
      rsa: ck.CKM_RSA_PKCS_KEY_PAIR_GEN,
      ec: ck.CKM_EC_KEY_PAIR_GEN,
      ed25519: CKM_EC_EDWARDS_KEY_PAIR_GEN,
    }[algorithm.kind]
    module.C_GenerateKeyPair(session, { mechanism }, open, secret)
  }

  return {
    open(target) {
      const { session, serial, label } = openSession(target, false)
      return hold(session, target, serial, label)
    },
    sign({ handle, input }) {
      const key = held.get(handle)
      if (key === undefined) throw new Refusal('STALE', 'the token was opened anew')
      module.C_SignInit(key.session, { mechanism: key.mechanism }, key.key)
      return Uint8Array.from(module.C_Sign(key.session, Buffer.from(input), Buffer.alloc(key.size)))
    },
    create(target) {
      const algorithm = KEY_ALGORITHMS.get(target.algorithm)
      if (algorithm === undefined) throw new Refusal('UNSUPPORTED', 'no such algorithm')
      const { session, serial, label } = openSession(target, true)
      if (find(session, ck.CKO_PRIVATE_KEY, target.object).length > 0) {
        throw new Refusal('EXISTS', 'the token holds such a key already')
      }
      generate(session, algorithm, target.object)
      return hold(session, target, serial, label)
    },
  }
}
