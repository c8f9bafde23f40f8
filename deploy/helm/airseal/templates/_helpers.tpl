{{- define "airseal.labels" -}}
app.kubernetes.io/part-of: airseal
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "airseal.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "airseal.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- /* Names and registries: the rest of the network is out of reach. */}}
{{- define "airseal.egress" -}}
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: kube-system
  ports:
    - { port: 53, protocol: UDP }
    - { port: 53, protocol: TCP }
{{- range .Values.network.registries }}
- to:
    - ipBlock: { cidr: {{ .cidr | quote }} }
  ports:
    {{- range .ports }}
    - { port: {{ . }}, protocol: TCP }
    {{- end }}
{{- end }}
{{- end }}

{{- define "airseal.follow" -}}
{{- if .Values.admission.follow }}{{ .Values.admission.follow }}{{ else }}https://airseal.{{ .Release.Namespace }}.svc:8470{{ end }}
{{- end }}
