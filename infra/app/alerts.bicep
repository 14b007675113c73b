// Alert rules over the app's own events (docs/telemetry.md), each with the page of the runbook that answers it.

param location string
param tags object
param workspaceId string
@description('Names of the connections: a rule that waits for news must know from whom.')
param connectionNames array
@description('Minutes without a successful refresh after which the dead man\'s switch fires.')
param silenceMinutes int
param actionGroupIds array
@description('Where the runbook can be read; the name of a rule is the name of its page.')
param runbookUrl string

var connectionList = '"${join(connectionNames, '", "')}"'
var rules = [
  {
    name: 'RefreshMissing'
    severity: 1
    summary: 'No successful refresh within ${silenceMinutes} minutes: the app does not run, or cannot refresh.'
    query: replace(
      replace(loadTextContent('../queries/RefreshMissing.kql'), '{connections}', connectionList),
      '{minutes}',
      string(silenceMinutes)
    )
    every: 'PT5M'
    window: 'PT6H'
  }
  {
    name: 'AuthorizationRequired'
    severity: 1
    summary: 'A connection needs a person: nothing that it holds can get a token.'
    query: loadTextContent('../queries/AuthorizationRequired.kql')
    every: 'PT5M'
    window: 'PT15M'
  }
  {
    name: 'RefreshTokenEnding3Days'
    severity: 2
    summary: 'A refresh token ends within three days, and no fallback grant will start a new life; or the key does that signs.'
    query: loadTextContent('../queries/RefreshTokenEnding3Days.kql')
    every: 'PT1H'
    window: 'P1D'
  }
  {
    name: 'RefreshTokenEnding14Days'
    severity: 3
    summary: 'A refresh token ends within fourteen days, and no fallback grant will start a new life; or the key does that signs.'
    query: loadTextContent('../queries/RefreshTokenEnding14Days.kql')
    every: 'PT1H'
    window: 'P1D'
  }
  {
    name: 'RefreshFailing'
    severity: 2
    summary: 'Three refreshes of a connection in a row have failed; the published token may still work.'
    query: loadTextContent('../queries/RefreshFailing.kql')
    every: 'PT5M'
    window: 'PT15M'
  }
  {
    name: 'ServiceNowUnauthorized'
    severity: 3
    summary: 'ServiceNow refused three runs of a connection within 30 minutes.'
    query: loadTextContent('../queries/ServiceNowUnauthorized.kql')
    every: 'PT5M'
    window: 'PT30M'
  }
  {
    name: 'VaultForbidden'
    severity: 2
    summary: 'Key Vault refused the identity of the app.'
    query: loadTextContent('../queries/VaultForbidden.kql')
    every: 'PT5M'
    window: 'PT15M'
  }
  {
    name: 'RefreshMessagePoisoned'
    severity: 2
    summary: 'A queue message failed at every delivery.'
    query: loadTextContent('../queries/RefreshMessagePoisoned.kql')
    every: 'PT5M'
    window: 'PT15M'
  }
]

resource rule 'Microsoft.Insights/scheduledQueryRules@2026-03-01' = [
  for each in rules: {
    name: each.name
    location: location
    tags: tags
    kind: 'LogAlert'
    properties: {
      displayName: each.name
      description: '${each.summary} ${runbookUrl}/${each.name}.md'
      enabled: true
      severity: each.severity
      scopes: [workspaceId]
      evaluationFrequency: each.every
      windowSize: each.window
      autoMitigate: true
      // The table does not exist before the app has sent its first event.
      skipQueryValidation: true
      criteria: {
        allOf: [
          {
            query: each.query
            timeAggregation: 'Count'
            dimensions: [
              {
                name: 'connection'
                operator: 'Include'
                values: ['*']
              }
            ]
            operator: 'GreaterThan'
            threshold: 0
            failingPeriods: {
              numberOfEvaluationPeriods: 1
              minFailingPeriodsToAlert: 1
            }
          }
        ]
      }
      actions: {
        actionGroups: actionGroupIds
        customProperties: {
          runbook: '${runbookUrl}/${each.name}.md'
        }
      }
    }
  }
]
