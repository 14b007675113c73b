// A witness outside of the app: Application Insights asks /api/status from several places, and an alert counts them.

param name string
param location string
param tags object
param componentId string
param url string
@secure()
@description('A function key for status alone; readers of the test can see it.')
param statusKey string
param actionGroupIds array
param runbook string
param aboutRunbook string

resource test 'Microsoft.Insights/webtests@2022-06-15' = {
  name: name
  location: location
  tags: union(tags, { 'hidden-link:${componentId}': 'Resource' })
  kind: 'standard'
  properties: {
    SyntheticMonitorId: name
    Name: name
    Enabled: true
    Frequency: 300
    Timeout: 60
    Kind: 'standard'
    RetryEnabled: true
    Locations: [
      { Id: 'emea-nl-ams-azr' }
      { Id: 'us-va-ash-azr' }
      { Id: 'apac-sg-sin-azr' }
    ]
    Request: {
      RequestUrl: '${url}/api/status'
      HttpVerb: 'GET'
      Headers: [
        { key: 'x-functions-key', value: statusKey }
      ]
      ParseDependentRequests: false
    }
    ValidationRules: {
      ExpectedHttpStatusCode: 200
      SSLCheck: true
      SSLCertRemainingLifetimeCheck: 7
    }
  }
}

resource alert 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: 'StatusUnavailable'
  location: 'global'
  tags: tags
  properties: {
    description: 'Two of three places get no 200 from /api/status. ${aboutRunbook}${runbook}/StatusUnavailable.md'
    severity: 1
    enabled: true
    scopes: [test.id, componentId]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.WebtestLocationAvailabilityCriteria'
      webTestId: test.id
      componentId: componentId
      failedLocationCount: 2
    }
    actions: map(actionGroupIds, id => { actionGroupId: id })
  }
}
