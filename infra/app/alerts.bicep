// Alert rules over the app's own events (docs/telemetry.md), each with the page of the runbook that answers it.

param location string
param tags object
param workspaceId string
@description('Whose events are meant: others may write into the same workspace.')
param componentId string
@description('Minutes without a tick after which the dead man\'s switch fires.')
param silenceMinutes int
param actionGroupIds array
@description('Minutes from one refresh to the next, and so from a warning to its next line.')
param refreshIntervalMinutes int
@description('Where the runbook is; the name of a rule is the name of its page.')
param runbook string
@description('What is said before it.')
param aboutRunbook string

// Of what is said at each refresh: two of them long, so that what stands stays one alert; and no longer, since an alert of one life must have ended before the next one's end is near.
var refreshWindow = refreshIntervalMinutes < 60
  ? 'PT2H'
  : refreshIntervalMinutes < 180 ? 'PT6H' : refreshIntervalMinutes < 720 ? 'P1D' : 'P2D'

var rules = [
  {
    name: 'RefreshMissing'
    severity: 1
    summary: 'No tick within ${silenceMinutes} minutes: the timer does not fire, or the app does not run.'
    query: replace(loadTextContent('../queries/RefreshMissing.kql'), '{minutes}', string(silenceMinutes))
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
    summary: 'A refresh token ends within three days, and no fallback grant will start a new life; or the key does that signs; or access tokens end before a tick can renew them.'
    query: loadTextContent('../queries/RefreshTokenEnding3Days.kql')
    every: 'PT10M'
    window: refreshWindow
  }
  {
    name: 'RefreshTokenEnding14Days'
    severity: 3
    summary: 'A refresh token ends within fourteen days, and no fallback grant will start a new life; or the key does that signs.'
    query: loadTextContent('../queries/RefreshTokenEnding14Days.kql')
    every: 'PT10M'
    window: refreshWindow
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
    name: 'VerificationRefused'
    severity: 2
    summary: 'ServiceNow refuses the stored token, whatever its dates say.'
    query: loadTextContent('../queries/VerificationRefused.kql')
    every: 'PT5M'
    window: 'PT15M'
  }
  {
    name: 'PublishFailed'
    severity: 2
    summary: 'A consumer\'s copy could not be written, or is disabled; its reader has an older token, or none.'
    query: loadTextContent('../queries/PublishFailed.kql')
    every: 'PT5M'
    window: 'PT15M'
  }
  {
    name: 'LeaseStuck'
    severity: 2
    summary: 'A lease is held for longer than any refresh takes, or cannot be asked for.'
    query: loadTextContent('../queries/LeaseStuck.kql')
    every: 'PT5M'
    window: refreshWindow
  }
  {
    name: 'UserChanged'
    severity: 3
    summary: 'The token acts as another user than before.'
    query: loadTextContent('../queries/UserChanged.kql')
    every: 'PT5M'
    window: 'PT15M'
  }
  {
    name: 'PutOff'
    severity: 3
    summary: 'The time of a tick was over before every connection had its turn.'
    query: loadTextContent('../queries/PutOff.kql')
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
      description: '${each.summary} ${aboutRunbook}${runbook}/${each.name}.md'
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
            query: replace(each.query, '{component}', componentId)
            // One alert for each cause and the connections that it meets: another one of them is another alert.
            timeAggregation: 'Total'
            metricMeasureColumn: each.name == 'RefreshMissing' ? 'minutes_without' : 'connections'
            dimensions: map(each.name == 'RefreshMissing' ? ['cause'] : ['cause', 'connection'], column => {
              name: column
              operator: 'Include'
              values: ['*']
            })
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
          runbook: '${runbook}/${each.name}.md'
        }
      }
    }
  }
]
