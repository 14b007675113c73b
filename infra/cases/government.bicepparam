// A dedicated plan, for a cloud without Flex Consumption.
using '../main.bicep'

param environmentName = 'refresher'
param location = 'usgovvirginia'
param principalId = '00000000-0000-0000-0000-00000000000a'
param instanceUrl = 'https://contoso.servicenowservices.com'
param hostingPlan = 'Dedicated'
param storageSku = 'Standard_LRS'
